// Stands in for xmlbuilder2, which vtk.js imports only to write and read VTK XML files.
export function create(): never {
  throw new Error('VTK XML files are not supported');
}
export const convert = create;
export const fragment = create;
