// The version of this package: the one place besides package.json; a unit test holds the two equal.
export const version = '0.1.0'
/** The envelope version, the only one spoken (original-contract 2.2). */
export const protocolVersion = '1.0'
