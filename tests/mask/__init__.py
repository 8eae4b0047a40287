"""What the look-back, the policy and the painter promise."""
