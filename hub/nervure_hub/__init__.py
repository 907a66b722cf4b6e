"""Part of Nervure; see README.md."""
