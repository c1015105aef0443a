@CTL-4 @CTL-2 @DOC-1
Feature: Reload
  A running stack reads its configuration again. A good one is in force once new processes live by it; a bad one
  changes nothing, and the record says why.

  Scenario: A good configuration is put in force while jobs run, and nothing is lost
    Given the only slot is taken
    And a waiting job
    And a configuration with one more priority class
    When the stack is reloaded
    And another job is submitted once new processes run
    And the slot becomes free
    Then the record says applied, under the next revision
    And every job ends completed, at its first attempt
    And all processes are new, at the same address
    And the class is known, and its jobs run

  Scenario Outline: A bad configuration is refused, and the old one stays in force
    Given a configuration with one more priority class and <fault>
    When the stack is reloaded
    Then the record says refused, because of <word>
    And the processes are those from before
    And the class is unknown, and other jobs run

    Examples:
      | fault                        | word  |
      | a value out of its bounds    | slots |
      | a key that nobody knows      | slotz |
      | a line that is no TOML       | TOML  |
      | a key that cannot change     | shard |

  Scenario: What dies after a refused reload is started again on the old configuration
    Given a configuration with one more priority class and a key that nobody knows
    When the stack is reloaded
    And the gateway dies
    Then the record says refused, because of slotz
    And there is a new gateway, at the same address
    And the class is unknown, and other jobs run

  Scenario: The configuration that is in force changes nothing
    Given the configuration that is in force
    When the stack is reloaded
    Then the record says unchanged, under the next revision
    And the processes are those from before
