"""itk-elastix's default B-spline registration, in a process that never imports SimpleITK (both at
once end in a segmentation fault): FIXED MOVING FIELD, files; FIELD is written.

    python -m tests.benchmarks.elastix_bspline fixed.mha moving.mha field.mha THREADS
"""

from __future__ import annotations

import sys


def main(fixed: str, moving: str, field: str, threads: str) -> None:
    import itk

    itk.set_nthreads(int(threads))
    images = itk.imread(fixed, itk.F), itk.imread(moving, itk.F)
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(parameters.GetDefaultParameterMap("bspline"))
    _, found = itk.elastix_registration_method(
        *images, parameter_object=parameters, log_to_console=False, number_of_threads=int(threads)
    )
    itk.imwrite(itk.transformix_deformation_field(images[0], found), field)


if __name__ == "__main__":
    main(*sys.argv[1:])
