#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringmw_codec_fuzz::secret_proof(input));
