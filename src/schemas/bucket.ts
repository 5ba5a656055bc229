/** The original's name; each key is a schema's id, each value a gzip of its FileDescriptorSet. */
export const schemaBucket = 'ARQON_SCHEMAS'
