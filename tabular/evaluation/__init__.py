"""How good predictions are, beside baselines and with the uncertainty of few rows."""
