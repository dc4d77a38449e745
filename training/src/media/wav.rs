//! Sound as a WAV file: 16-bit mono PCM.

/// The bytes of a WAV file; samples outside [-1, 1] are clipped.
pub fn write_wav(samples: &[f32], sample_rate: u32) -> Vec<u8> {
    let data_bytes = (samples.len() * 2) as u32;
    let mut wav = Vec::with_capacity(44 + samples.len() * 2);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + data_bytes).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    wav.extend_from_slice(&1_u16.to_le_bytes());
    wav.extend_from_slice(&1_u16.to_le_bytes());
    wav.extend_from_slice(&sample_rate.to_le_bytes());
    wav.extend_from_slice(&(sample_rate * 2).to_le_bytes());
    wav.extend_from_slice(&2_u16.to_le_bytes());
    wav.extend_from_slice(&16_u16.to_le_bytes());
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&data_bytes.to_le_bytes());
    for sample in samples {
        let pcm = (sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16;
        wav.extend_from_slice(&pcm.to_le_bytes());
    }
    wav
}

#[cfg(test)]
mod tests {
    use super::write_wav;

    #[test]
    fn a_wav_states_its_length_and_clips() {
        let wav = write_wav(&[0.0, 2.0, -2.0], 12_000);
        assert_eq!(wav.len(), 50);
        assert_eq!(wav[40..44], 6_u32.to_le_bytes());
        assert_eq!(wav[46..48], 32_767_i16.to_le_bytes());
        assert_eq!(wav[48..50], (-32_767_i16).to_le_bytes());
    }
}
