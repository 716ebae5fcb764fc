"""Records, chat templates, import and export formats, folders that are complete or absent."""
