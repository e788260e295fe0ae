"""Numerical machinery: TensorFlow, exact products, stacked networks; nothing about tables."""
