"""Where a learned image codec loses its bits, and how far it is from the rate-distortion limit."""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, _ = lazy_loader.attach(__name__, submod_attrs={"api": ["decompose"]})
