"""What people look at: the terminal table, exports, the progress display."""
