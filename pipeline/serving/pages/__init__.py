"""The analysts' dashboard and customer page, which Datasette serves as a plugin with templates and a style sheet."""
