"""Scoring from carried state: each customer's hidden state, kept from night to night."""
