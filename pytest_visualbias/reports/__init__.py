"""Write reports: terminal, JSON, HTML, Markdown, CSV, model card."""
