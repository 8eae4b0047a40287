"""From the broker into the store: what boxes say is checked, kept and, where it is evidence, cosigned."""
