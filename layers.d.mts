// Types of layers.mjs, for the test and the docs check that read it.
export const layers: Readonly<Record<string, readonly string[]>>
export const soleImporters: Readonly<Record<string, readonly string[]>>
export const portOnly: Readonly<Record<string, { readonly port: string; readonly mayOpen: readonly string[] }>>
export const computedImporters: readonly string[]
