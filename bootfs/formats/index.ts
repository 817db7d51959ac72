/** The formats of a system. */
export { FORMATS, formatOf, formatsFor, formatsOf, type ChosenFormat, type Formatted } from './table.js';
export type { Format, FormatParts } from './format.js';
export { platformOf } from './oci.js';
