"""Lab sheets: properties of a recording that a student's device or driver has to have, and what is missing of them."""
