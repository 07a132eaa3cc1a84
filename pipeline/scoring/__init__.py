"""Scoring a night: the champion, state carried from night to night, reasons, and the explanation of one customer."""
