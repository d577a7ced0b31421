"""Figures: each is written as PNG and PDF."""
