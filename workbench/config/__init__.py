"""Each hyperparameter declared once: form, command line, TOML and docs come from here."""
