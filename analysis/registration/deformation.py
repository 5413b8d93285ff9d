"""What deformable registration gives back. The class needs numpy alone and therefore lives in
:mod:`analysis.deformation`, where the web process can import it without this package."""

from analysis.deformation import Deformation

__all__ = ["Deformation"]
