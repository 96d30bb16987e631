//! An SD card for the Raspberry Pi 4: one FAT32 partition behind an MBR, the same bytes in every build.

use super::archive::Entry;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

/// Bytes in a sector of the card.
const SECTOR: u32 = 512;
/// First sector of the partition: one mebibyte, as every partitioning tool aligns.
const PARTITION_START: u32 = 2048;
/// Sectors of the partition. With clusters of one sector, FAT32 needs more than 65,525 of them; this is 64 MiB.
const PARTITION_SECTORS: u32 = 64 << 11;
/// Partition type "FAT32 with LBA": what the firmware's boot loader looks for.
const FAT32_LBA: u8 = 0x0c;
/// Fixed, so that the same files give the same image.
const SERIAL: u32 = u32::from_be_bytes(*b"GRFT");

/// Dates every file at the start of FAT's calendar.
#[derive(Debug)]
struct StoppedClock;

impl fatfs::TimeProvider for StoppedClock {
    fn get_current_date(&self) -> fatfs::Date {
        fatfs::Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> fatfs::DateTime {
        let time = fatfs::Time { hour: 0, min: 0, sec: 0, millis: 0 };
        fatfs::DateTime { date: self.get_current_date(), time }
    }
}

/// Makes the whole card with these files in its root folder.
pub fn make(files: &[Entry]) -> io::Result<Vec<u8>> {
    let mut partition = Cursor::new(vec![0; (PARTITION_SECTORS * SECTOR) as usize]);
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat32)
        .bytes_per_cluster(SECTOR)
        .volume_id(SERIAL)
        .volume_label(*b"GRAFT      ");
    fatfs::format_volume(&mut partition, options)?;
    {
        let options = fatfs::FsOptions::new().time_provider(&StoppedClock);
        let volume = fatfs::FileSystem::new(&mut partition, options)?;
        let root = volume.root_dir();
        for file in files {
            root.create_file(&file.name)?.write_all(&file.bytes)?;
        }
        drop(root);
        // Counts the free clusters, which unmounting then writes down.
        volume.stats()?;
        volume.unmount()?;
    }

    let mut card = Cursor::new(vec![0; (PARTITION_START * SECTOR) as usize]);
    card.get_mut().extend_from_slice(partition.get_ref());
    let mut table = mbrman::MBR::new_from(&mut card, SECTOR, SERIAL.to_le_bytes()).map_err(io::Error::other)?;
    table[1] = mbrman::MBRPartitionEntry {
        boot: mbrman::BOOT_ACTIVE,
        first_chs: mbrman::CHS::empty(),
        sys: FAT32_LBA,
        last_chs: mbrman::CHS::empty(),
        starting_lba: PARTITION_START,
        sectors: PARTITION_SECTORS,
    };
    table.write_into(&mut card).map_err(io::Error::other)?;
    Ok(card.into_inner())
}

/// Reads the files of a card's root folder back, through its partition table.
pub fn files(card: &[u8]) -> io::Result<Vec<Entry>> {
    let table = mbrman::MBR::read_from(&mut Cursor::new(card), SECTOR).map_err(io::Error::other)?;
    let entry = &table[1];
    let start = entry.starting_lba as usize * SECTOR as usize;
    let bytes = card.get(start..start + entry.sectors as usize * SECTOR as usize);
    let mut partition = Cursor::new(bytes.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec());
    partition.seek(SeekFrom::Start(0))?;
    let volume = fatfs::FileSystem::new(partition, fatfs::FsOptions::new())?;
    let mut files = Vec::new();
    for item in volume.root_dir().iter() {
        let item = item?;
        let mut bytes = Vec::new();
        item.to_file().read_to_end(&mut bytes)?;
        files.push(Entry { name: item.file_name(), bytes });
    }
    Ok(files)
}

/// Byte offset of the partition, for tools that read it in the image.
pub const PARTITION_OFFSET: u64 = PARTITION_START as u64 * SECTOR as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Entry> {
        let entry = |name: &str, bytes: Vec<u8>| Entry { name: name.into(), bytes };
        vec![
            entry("kernel8.img", (0..300_000u32).map(|value| value as u8).collect()),
            entry("config.txt", b"arm_64bit=1\n".to_vec()),
            entry("bcm2711-rpi-4-b.dtb", vec![0xd0; 27_386]),
            entry("empty", Vec::new()),
        ]
    }

    #[test]
    fn every_file_reads_back_as_it_was_written() {
        assert_eq!(files(&make(&sample()).unwrap()).unwrap(), sample());
    }

    #[test]
    fn two_cards_with_the_same_files_are_equal() {
        assert!(make(&sample()).unwrap() == make(&sample()).unwrap());
    }

    #[test]
    fn the_partition_table_is_what_the_firmware_expects() {
        let card = make(&[]).unwrap();
        assert_eq!(card[510..512], [0x55, 0xaa]);
        let entry = &card[446..462];
        assert_eq!(entry[4], 0x0c);
        assert_eq!(u32::from_le_bytes(entry[8..12].try_into().unwrap()), 2048);
        assert_eq!(u32::from_le_bytes(entry[12..16].try_into().unwrap()) as usize * 512, card.len() - (1 << 20));
        // The partition's own boot sector: FAT32, its serial number at 0x43.
        let sector = &card[PARTITION_OFFSET as usize..][..512];
        assert_eq!(&sector[0x52..0x5a], b"FAT32   ");
        assert_eq!(sector[510..512], [0x55, 0xaa]);
    }
}
