"""Methods of explanation in the call shapes of other toolkits: captum's `attribute` and Quantus's `explain_func`.

torch is loaded where it is used; neither captum nor Quantus is needed.
"""

from .captum_attribution import Attribution
from .quantus_function import explain_func
from .torch_network import TorchNetwork

__all__ = ["Attribution", "TorchNetwork", "explain_func"]
