"""The report: one self-contained HTML page, a template per section."""
