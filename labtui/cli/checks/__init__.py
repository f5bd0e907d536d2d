"""What ``labtui doctor`` looks at, beside software and devices: the lab's folder, and what ends a supervisor."""
