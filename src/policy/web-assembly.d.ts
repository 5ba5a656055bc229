// What is used of the global WebAssembly, which Node has and its types leave to those of browsers.
declare namespace WebAssembly {
  /** Opaque; may be sent to other threads. */
  interface Module {
    readonly [Symbol.toStringTag]: string
  }
  interface Memory {
    readonly buffer: ArrayBuffer
  }
  interface Global {
    value: number
  }
  interface Instance {
    readonly exports: Readonly<Record<string, unknown>>
  }
}
declare const WebAssembly: {
  validate(bytes: Uint8Array): boolean
  compile(bytes: Uint8Array): Promise<WebAssembly.Module>
  readonly Module: new (bytes: Uint8Array) => WebAssembly.Module
  readonly Instance: new (
    module: WebAssembly.Module,
    imports: Readonly<Record<string, Readonly<Record<string, (...args: number[]) => number>>>>,
  ) => WebAssembly.Instance
}
