def test_probe(register_version):
    assert register_version.rows == 600
