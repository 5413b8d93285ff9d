"""From probability maps and images to measured findings."""
