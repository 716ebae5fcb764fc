"""Each hyperparameter declared once; the form, the command line, TOML and the docs come from here."""
