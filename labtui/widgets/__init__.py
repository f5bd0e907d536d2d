"""What draws: pure functions from rows to lines, and the few widgets that put lines on the screen."""
