"""The papers' tables made here: what is printed and what is measured, side by side."""
