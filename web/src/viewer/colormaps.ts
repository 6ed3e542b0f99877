/** The colour maps that the gateway renders with too, as 33 stops each (from OpenCV, matplotlib's by BIDS, CC0). */

const STOPS = {
  inferno:
    "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0315bbc3754c63d4dd04545da4e3ce35933eb6429f1711ff67e14f98c0afb9b06fcaa0ffbba1ff9c932f5d949f2e865f3f586fcffa4",
  viridis:
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23898e21918c1f978b1f9f8821a68527ad8131b57b3dbc744cc26c5cc8636ece5881d34d95d840aadc32c0df25d5e21aeae51afde725",
  magma:
    "0000040303120a0822130d341d114729115a36106b440f7651127c5d177f6a1c81762181832681902a819c2e7faa337db73779c23b75cf4070db476ae55064ee5b5ef4695cf9785dfb8761fd9668fea571feb47bfec287fed194fde0a1fceeb0fcfdbf",
  plasma:
    "0d08872206903105973f049c4c02a15901a56600a77201a87e03a88a09a59511a1a01a9caa2395b32c8ebc3587c43e7fcc4778d24f71d9586adf6263e56b5deb7556f07f4ff48948f89441fb9f3afdab33feb72dfdc328fcd025f9dd25f5eb27f0f921",
  turbo:
    "30123b392a734040a24456c7466be34680f64294ff37a8fa28bceb1ccdd818ddc21fe9af32f2984ef97d6dfe628bff4ba4fc3cb7f735cbed34dde037ecd13af7c13afdae35fe992cfb8122f56918ec530fe14109d23105c12302ac1701950d017a0403",
} as const;

export type ColorMap = keyof typeof STOPS;
export const COLOR_MAPS = Object.keys(STOPS) as ColorMap[];

/** 256 RGBA colours for a texture. */
export function lookup(name: ColorMap): Uint8Array {
  const stops = STOPS[name].match(/../g)?.map((pair) => Number.parseInt(pair, 16)) ?? [];
  const table = new Uint8Array(256 * 4);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * 32;
    const low = Math.min(Math.floor(at), 31);
    for (let channel = 0; channel < 3; channel++) {
      const [a = 0, b = 0] = [stops[low * 3 + channel], stops[low * 3 + 3 + channel]];
      table[i * 4 + channel] = Math.round(a + (b - a) * (at - low));
    }
    table[i * 4 + 3] = 255;
  }
  return table;
}
