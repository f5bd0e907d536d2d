"""Every screen as text: for pipes, logs and screen readers. Functions from rows to lines; nothing here reads or prints."""
