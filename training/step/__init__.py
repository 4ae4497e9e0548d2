"""The step: losses, gradients over ranks, optimizer and schedule."""
