locals {
  regions  = concat(var.data_regions, [var.observer_region])
  short    = { for r in local.regions : r => replace(replace(replace(replace(replace(replace(replace(r, "north", "n"), "south", "s"), "east", "e"), "west", "w"), "central", "c"), "-", ""), "/[^a-z0-9]/", "") }
  dist_dir = coalesce(var.dist_dir, "${path.root}/../dist")

  # Zone letter and host number of a slot's letter. The fourth database shares the first zone.
  zone_of = { a = 0, b = 1, c = 2, d = 0 }
  host_of = { db = 11, haproxy = 21, app = 31, witness = 41 }

  active_dbs = {
    minimal  = [["a", "b"], ["a"]]
    standard = [["a", "b", "c"], ["a", "b", "c"]]
  }[var.size]
  db_letters = {
    minimal  = ["a", "b", "c"]
    standard = ["a", "b", "c", "d"]
  }[var.size]
  voting_dbs = {
    minimal  = [["a"], ["a"]]
    standard = [["a", "b"], ["a", "b"]]
  }[var.size]

  db_slots = flatten([
    for n, region in var.data_regions : [
      for letter in local.db_letters : {
        role   = "db", region_index = n, letter = letter,
        active = contains(local.active_dbs[n], letter), voter = contains(local.voting_dbs[n], letter)
      }
    ]
  ])
  haproxy_slots = flatten([
    for n, region in var.data_regions : [
      for letter in ["a", "b"] : { role = "haproxy", region_index = n, letter = letter, active = letter == "a", voter = false }
    ]
  ])
  app_slots = [
    { role = "app", region_index = 0, letter = "a", active = true, voter = false },
    { role = "app", region_index = 0, letter = "b", active = false, voter = false },
    { role = "app", region_index = 1, letter = "a", active = false, voter = false },
  ]
  witness_slots = [{ role = "witness", region_index = 2, letter = "a", active = true, voter = true }]

  disk_max_gib = {
    db      = coalesce(var.disks.db_max_gib, 4 * var.disks.db_gib)
    witness = coalesce(var.disks.witness_max_gib, 4 * var.disks.witness_gib)
  }

  # What is asked of the databases' disks may be more than EC2 gives one of the witness's size, and would never be made.
  disk_iops = { for role, gib in { db = var.disks.db_gib, witness = var.disks.witness_gib } :
    role => min(var.disks.iops, max(3000, 500 * gib))
  }

  slots = {
    for s in concat(local.db_slots, local.haproxy_slots, local.app_slots, local.witness_slots) :
    "${s.role}-${local.short[local.regions[s.region_index]]}-${s.letter}" => merge(s, {
      region     = local.regions[s.region_index]
      zone_index = local.zone_of[s.letter]
      # Public subnets are x.0 to x.2, private ones x.10 to x.12; the app is in public ones.
      address = cidrhost(
        cidrsubnet(var.cidrs[s.region_index], 8, local.zone_of[s.letter] + (s.role == "app" ? 0 : 10)),
        local.host_of[s.role] + (s.letter == "d" ? 1 : 0)
      )
      disk_gib     = { db = var.disks.db_gib, witness = var.disks.witness_gib, haproxy = 0, app = 0 }[s.role]
      disk_max_gib = lookup(local.disk_max_gib, s.role, 0)
    })
  }

  # At least one acknowledgement is remote whoever leads: as many as the larger region has copies.
  synchronous_node_count = {
    async  = 0
    zone   = 1
    region = max([for letters in local.active_dbs : length(letters)]...)
  }[var.durability]
}
