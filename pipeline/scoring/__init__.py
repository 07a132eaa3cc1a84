"""Scoring from what is carried: each customer's hidden state, or sums, kept from night to night."""
