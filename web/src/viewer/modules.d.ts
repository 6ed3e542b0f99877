/** What the codecs ship without types. */
type CodecModule = (options: {
  locateFile: () => string;
}) => Promise<{ JpegLSDecoder: new () => never; J2KDecoder: new () => never }>;

declare module "@cornerstonejs/codec-charls/decodewasmjs" {
  const load: CodecModule;
  export default load;
}
declare module "@cornerstonejs/codec-openjpeg/decodewasmjs" {
  const load: CodecModule;
  export default load;
}
declare module "@cornerstonejs/codec-charls/decodewasm?url" {
  const url: string;
  export default url;
}
declare module "@cornerstonejs/codec-openjpeg/decodewasm?url" {
  const url: string;
  export default url;
}
declare module "jpeg-lossless-decoder-js" {
  export class Decoder {
    decompress(buffer: ArrayBufferLike, offset: number, length: number): ArrayBuffer;
    frame: { precision: number };
  }
}
declare module "*.dcm?url" {
  const url: string;
  export default url;
}
declare module "@fontsource-variable/inter" {}
