"""Crossbars of memory devices in place of ideal weights: devices, arrays, and how they are programmed."""
