"""The mathematics: no Django, no Celery; usable from a notebook."""
