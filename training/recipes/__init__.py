"""Recipes: everything that shapes a training run, as YAML."""
