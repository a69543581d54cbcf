"""Prediction difference analysis: which parts of a photo speak for and against a decision of a network.

Zintgraf, Cohen and Welling, *A New Method to Visualize Deep Neural Networks* (arXiv:1603.02518).
"""

__version__ = "0.1.0"
