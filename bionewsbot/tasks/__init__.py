"""The tasks that workers carry out."""
