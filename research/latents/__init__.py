"""What is known of the latents z of a model: posteriors q(z | x), priors p(z), and the bijections both are made of."""
