@API-1 @DOC-1
Feature: Drain
  A pool that drains runs nothing new and goes on taking jobs in. What it runs may finish, until the deadline.

  @CTL-3
  Scenario: What runs finishes, and nothing new begins
    Given the only slot is taken
    And a waiting job
    When the pool is drained
    And the slot becomes free
    Then the command ends done
    And nothing was stopped by force
    And the job still waits

  @CTL-3
  Scenario: A draining pool takes jobs in
    Given a draining pool
    When another job is submitted
    Then the answer is 202 and names the job
    And the job still waits

  @CTL-3
  Scenario: A pool that no longer drains runs what has come meanwhile
    Given a draining pool
    And a waiting job
    When the pool is undrained
    Then the job ends completed

  @CTL-3
  Scenario: What is not over by the deadline is stopped, and waits again
    Given a running job
    When the pool is drained within 100 ms
    Then the command ends done
    And one job was stopped by force
    And its agent is gone
    And the job still waits

  @CTL-1
  Scenario: Nobody's pool cannot be drained
    When the pool of nobody is drained
    Then the answer is 404 with the code NOT_FOUND

  @CTL-2
  Scenario: An id of a command is used once
    Given a draining pool
    When the same command is given again
    Then the answer is 409 with the code DUPLICATE_COMMAND
    And the pool still drains
