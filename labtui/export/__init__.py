"""What leaves labtui: rows, tables for papers, figures, a report and bundles."""
