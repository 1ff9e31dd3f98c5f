variable "cluster" {
  description = "Name of the cluster; part of every name but those of the SSM documents, so that a second cluster needs regions or an account of its own."
  type        = string
  default     = "pgmend"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,15}$", var.cluster))
    error_message = "cluster is 3 to 16 characters: lower-case letters, digits and dashes, a letter first."
  }
}

variable "size" {
  description = "minimal: 2+1 databases, voters 1+1+1. standard: 3+3 databases, voters 2+2+1."
  type        = string
  default     = "minimal"
  validation {
    condition     = contains(["minimal", "standard"], var.size)
    error_message = "size is minimal or standard."
  }
}

variable "durability" {
  description = "What an acknowledged write survives: async (nothing promised), zone (any node or zone), region (any region)."
  type        = string
  default     = "region"
  validation {
    condition     = contains(["async", "zone", "region"], var.durability)
    error_message = "durability is async, zone or region."
  }
}

variable "data_regions" {
  description = "The two regions that hold copies; the first one has the active app."
  type        = list(string)
  default     = ["eu-west-1", "eu-west-3"]
  validation {
    condition     = length(var.data_regions) == 2 && length(distinct(var.data_regions)) == 2
    error_message = "data_regions names two different regions."
  }
}

variable "observer_region" {
  description = "The region of the witness and the healer. It holds no data."
  type        = string
  default     = "eu-central-1"
  validation {
    condition     = !contains(var.data_regions, var.observer_region)
    error_message = "observer_region is a third region, in neither blast radius."
  }
}

variable "cidrs" {
  description = "The VPCs' address ranges: first data region, second, observer. /16 each."
  type        = list(string)
  default     = ["10.10.0.0/16", "10.20.0.0/16", "10.30.0.0/16"]
  validation {
    condition = (
      length(var.cidrs) == 3 && length(distinct([for c in var.cidrs : cidrhost(c, 0)])) == 3
      && alltrue([for c in var.cidrs : endswith(c, "/16")])
    )
    error_message = "cidrs are three different /16 ranges, so that they cannot overlap."
  }
}

variable "app_allowed_cidrs" {
  description = "Who may reach the app's port 5000 from outside."
  type        = list(string)
  default     = []
}

variable "instance_types" {
  description = "Instance types of each role: the first, and those that the healer asks for when AWS has none of it to give, in this order."
  type = object({
    db      = optional(list(string), ["m7i.large", "m7a.large", "m6i.large", "m6a.large"])
    haproxy = optional(list(string), ["t3.small", "t3a.small", "t3.medium"])
    app     = optional(list(string), ["t3.small", "t3a.small", "t3.medium"])
    witness = optional(list(string), ["t3.small", "t3a.small", "t3.medium"])
  })
  default = {}
  validation {
    condition = alltrue([for role, types in var.instance_types :
      length(types) > 0 && length(distinct(types)) == length(types)
      && alltrue([for type in types : can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", type))])
    ])
    error_message = "instance_types has, for each role, one type at least and none twice; the AMI is x86_64, and so must they be."
  }
}

variable "ami_ids" {
  description = "Region to AMI, of Debian 13: documents need its shell. A region that is not named gets the newest Debian 13 AMI."
  type        = map(string)
  default     = {}
}

variable "disks" {
  description = "Volumes of databases and of the witness (gp3, encrypted)."
  type = object({
    db_gib          = optional(number, 100)
    witness_gib     = optional(number, 8)
    db_max_gib      = optional(number) # how far the healer may let a disk grow; four times its first size
    witness_max_gib = optional(number)
    iops            = optional(number, 3000)
    throughput_mibs = optional(number, 125)
  })
  default = {}
  validation {
    condition = (
      coalesce(var.disks.db_max_gib, var.disks.db_gib) >= var.disks.db_gib
      && coalesce(var.disks.witness_max_gib, var.disks.witness_gib) >= var.disks.witness_gib
    )
    error_message = "A disk's limit is not below its first size."
  }
  validation {
    condition     = var.disks.iops >= 3000 && var.disks.iops <= max(3000, 500 * var.disks.db_gib)
    error_message = "disks.iops is at least 3000 and at most 500 for each GiB of a database's disk: EC2 makes no other gp3 volume."
  }
  validation {
    condition     = var.disks.throughput_mibs >= 125 && 4 * var.disks.throughput_mibs <= var.disks.iops
    error_message = "disks.throughput_mibs is at least 125 and at most a fourth of disks.iops: EC2 makes no other gp3 volume."
  }
}

variable "timings" {
  description = "Seconds; see docs/contracts.md."
  type = object({
    report_interval_s    = optional(number, 5)
    metric_interval_s    = optional(number, 30)
    probe_timeout_s      = optional(number, 2)
    peer_silent_after_s  = optional(number, 10)
    agent_silent_after_s = optional(number, 20)
    boot_grace_s         = optional(number, 600)
    configure_timeout_s  = optional(number, 300)
    look_interval_s      = optional(number, 3)
    restart_wait_s       = optional(number, 60)
    lease_s              = optional(number, 30)
    wake_stale_after_s   = optional(number, 900)
    run_budget_s         = optional(number, 240)
    unreachable_after_s  = optional(number, 300)
    drain_before_s       = optional(number, 86400)
  })
  default = {}
  validation {
    condition = (
      var.timings.agent_silent_after_s > 2 * var.timings.report_interval_s
      && var.timings.run_budget_s < 300 && var.timings.lease_s > 3 * var.timings.look_interval_s
      && var.timings.unreachable_after_s > var.timings.agent_silent_after_s
    )
    error_message = "agent_silent_after_s is more than two report intervals, unreachable_after_s more than that, lease_s more than three looks, run_budget_s below the function's 300 s."
  }
}

variable "patroni" {
  description = "Patroni's timings (seconds) and limits."
  type = object({
    ttl                           = optional(number, 20)
    loop_wait                     = optional(number, 2)
    retry_timeout                 = optional(number, 3)
    maximum_lag_on_failover_bytes = optional(number, 1048576)
    wal_sender_timeout_s          = optional(number, 5)
  })
  default = {}
  validation {
    condition     = var.patroni.loop_wait + 2 * var.patroni.retry_timeout <= var.patroni.ttl && var.patroni.ttl >= 20
    error_message = "Patroni needs ttl >= 20 and loop_wait + 2 * retry_timeout <= ttl."
  }
  validation {
    condition     = var.patroni.ttl >= max(var.patroni.loop_wait + var.patroni.retry_timeout + 10, var.patroni.loop_wait + 3 * var.patroni.retry_timeout + 6)
    error_message = "Patroni's ttl leaves no time to restart a Patroni that hangs, and nodes refuse it: ttl is at least loop_wait + retry_timeout + 10 and at least loop_wait + 3 * retry_timeout + 6."
  }
}

variable "budget" {
  description = "How much may be replaced before a person is asked."
  type = object({
    replacements_per_hour    = optional(number, 6)
    replacements_per_day     = optional(number, 20)
    launches_in_parallel     = optional(number, 8)
    failed_launches_per_hour = optional(number, 10)
    disk_growths_per_day     = optional(number, 4) # of one slot; EC2 allows one change of a volume in six hours
  })
  default = {}
}

variable "aws_endpoints" {
  description = "Region to endpoint URL for nodes and functions; empty on AWS."
  type        = map(string)
  default     = {}
}

variable "s3_use_path_style" {
  description = "Address buckets by path; for endpoints that are not AWS's."
  type        = bool
  default     = false
}

variable "healer_reserved_concurrency" {
  description = "Concurrent runs of the healer that are reserved; null for none. One would let a wake be dropped while a run is under way."
  type        = number
  default     = 3
  nullable    = true
  validation {
    condition     = var.healer_reserved_concurrency == null || coalesce(var.healer_reserved_concurrency, 2) >= 2
    error_message = "healer_reserved_concurrency is null or at least 2."
  }
}

variable "final_snapshot" {
  description = "Snapshot every disk before a destroy deletes it."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Refuse to empty the cluster. To destroy it: apply with false, then destroy."
  type        = bool
  default     = true
}

variable "opening" {
  description = "A destroy that failed leaves the cluster closed to the healer; an apply with a higher number opens it again."
  type        = number
  default     = 1
}

variable "notice_emails" {
  description = "Who is told, by e-mail, what the healer does and what it cannot do. Each has to confirm a message from AWS."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for address in var.notice_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "notice_emails are e-mail addresses."
  }
}

variable "log_retention_days" {
  description = "How long the functions' logs are kept."
  type        = number
  default     = 30
}

variable "tags" {
  description = "Tags on everything."
  type        = map(string)
  default     = {}
}

variable "dist_dir" {
  description = "Where `make package` put lambdas.zip and node-bundle.tar.gz; null for dist/ beside tofu/."
  type        = string
  default     = null
}
