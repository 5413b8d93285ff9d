"""itk-elastix's default B-spline registration in a process of its own, from files to a file.

    python -m tests.benchmarks.elastix_bspline fixed.mha moving.mha field.mha

The package (0.25.4) now and then ends in a segmentation fault here; the caller tries again.
"""

from __future__ import annotations

import sys


def main(fixed: str, moving: str, field: str) -> None:
    import itk

    images = itk.imread(fixed, itk.F), itk.imread(moving, itk.F)
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(parameters.GetDefaultParameterMap("bspline"))
    _, found = itk.elastix_registration_method(
        *images, parameter_object=parameters, log_to_console=False
    )
    itk.imwrite(itk.transformix_deformation_field(images[0], found), field)


if __name__ == "__main__":
    main(*sys.argv[1:])
