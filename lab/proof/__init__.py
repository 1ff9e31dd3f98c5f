"""The proof: one scenario for each row of the catalogue of faults, on the real lab, each with what it promises."""
