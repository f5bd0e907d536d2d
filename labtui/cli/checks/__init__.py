"""What ``labtui doctor`` looks at beside software and devices: the lab's folder, what ends a supervisor."""
