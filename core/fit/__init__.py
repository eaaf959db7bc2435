"""The parts of the training loop: what is drawn, how it is changed, what is made small, what is kept."""
