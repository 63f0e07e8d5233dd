"""PrivacyHub: sensitive tables in, releases with a priced privacy loss out."""
